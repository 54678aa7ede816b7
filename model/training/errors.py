"""Errors of training."""


class Refused(Exception):
    """A request that cannot be fulfilled. The message is one paragraph with the value, the limit and the way out."""


class ProcessLost(Exception):
    """Another process of this training stopped or does not answer; its own message gives the reason."""


class Diverged(Exception):
    """A loss is not finite; the message names epoch and step."""
