"""The error of a wrong configuration."""


class BadConfiguration(Exception):
    def __init__(self, message, field, error_code):
        self.message = message
        self.field = field
        self.error_code = error_code
        Exception.__init__(
            self,
            '%s [[badField="%s" errorCode="%s"]]' % (message, field, error_code),
        )
