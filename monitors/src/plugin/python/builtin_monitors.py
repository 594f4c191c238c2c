"""Empty: a monitor that imports another one finds it among the plug-ins."""
