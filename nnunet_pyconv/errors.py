"""The error for what a user gave."""


class InputError(ValueError):
    """Something the user gave can't be used.

    The message says what was given, what was expected and how to mend it. The command line prints it without a
    traceback and exits with status 2.
    """
