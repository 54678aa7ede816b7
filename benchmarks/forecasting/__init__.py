"""The field's long-term forecasting benchmarks: this model, four peers of `neuralforecast`, and naive forecasts.

Not imported from here: `python -m benchmarks.forecasting` runs it.
"""
