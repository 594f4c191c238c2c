"""The error of a wrong configuration."""


class BadConfiguration(Exception):
    """Which field is wrong, in words and by a code that programs can look for."""

    def __init__(self, message, field, error_code):
        super().__init__("%s (field %s, code %s)" % (message, field, error_code))
        self.error_code = error_code
        self.field = field
        self.message = message
