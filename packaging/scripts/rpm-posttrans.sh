# Here, not in %post: a package that this one replaces is taken out in between, and its script stops
# the agent and takes it out of the boot.
configure_files
register
tell_unused
start_again
next_steps
forget
