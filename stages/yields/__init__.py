"""Stages 2 and 3 forecast yields: offset, learners, cross-fitting, ensemble, scores and explanations."""
