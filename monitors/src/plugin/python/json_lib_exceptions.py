"""What may be wrong with JSON."""


class JsonConversionException(Exception):
    """A field is of a type that cannot be converted to the wanted one."""


class JsonMissingFieldException(Exception):
    """A field without a default is not there."""


class JsonParseException(Exception):
    """A text is no JSON."""

    def __init__(self, message, position=-1, line_number=-1):
        self.raw_message = message
        self.position = position
        self.line_number = line_number
        if position >= 0 and line_number >= 0:
            message += " (line %d, byte position %d)" % (line_number, position)
        Exception.__init__(self, message)
