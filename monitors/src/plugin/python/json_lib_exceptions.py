"""What may be wrong with JSON."""


class JsonConversionException(Exception):
    """A field is of a type that cannot be converted to the wanted one."""


class JsonMissingFieldException(Exception):
    """A field without a default is not there."""


class JsonParseException(Exception):
    """A text is no JSON."""

    def __init__(self, message, position=-1, line_number=-1):
        place = ""
        if min(position, line_number) >= 0:
            place = ", in line %d, at offset %d" % (line_number, position)
        super().__init__(message + place)
        self.raw_message = message
        self.line_number, self.position = line_number, position
