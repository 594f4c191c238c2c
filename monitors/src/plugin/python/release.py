"""Which agent this is."""

# Set by the host to the version of the agent that runs it.
SCALYR_VERSION = "0"

PACKAGE_INSTALL, TARBALL_INSTALL, DEV_INSTALL = 1, 2, 3
INSTALL_TYPE = PACKAGE_INSTALL


def scalyr_init():
    """Nothing to prepare: the host has set the module path."""
