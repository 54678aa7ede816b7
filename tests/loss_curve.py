"""The schedule of the tests with several processes, and the epochs of a fit as text."""

import json

from model.training.optim import Schedule

SCHEDULE = Schedule(epochs=3, batch_size=8, patience=9)


def epochs_of(fit):
    return json.dumps([{"train": epoch.train, "valid": epoch.valid, "lr": epoch.lr} for epoch in fit.epochs])
