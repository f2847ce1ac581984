"""Errors that a user can do something about: a code, and one sentence that says what to do next."""


class ThrongError(Exception):
    """Told to the user in one line, without a traceback. `code` is stable and documented."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
