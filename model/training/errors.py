"""What can go wrong in training."""


class Refused(Exception):
    """Something that a person asked for and that cannot be: one paragraph with the value, the limit and the way out."""


class ProcessLost(Exception):
    """Another process of this training ended or does not answer; its own message says why."""


class Diverged(Exception):
    """A loss that is not finite; the message names epoch and step."""
