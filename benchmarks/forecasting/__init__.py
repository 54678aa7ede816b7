"""Long-term forecasting benchmarks of the field: this model, four peers of `neuralforecast`, and naive forecasts.

This package imports nothing; run it with `python -m benchmarks.forecasting`.
"""
