"""What a runner says when it cannot take a job."""


class CannotRun(Exception):
    """A runner cannot take the job as things are; the text says why and what to do."""
