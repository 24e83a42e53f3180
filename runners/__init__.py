"""Where a job runs, one file a runner."""


class CannotRun(Exception):
    """A runner cannot take the job as things are; the text says why and what to do."""
