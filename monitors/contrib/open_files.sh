#!/bin/sh
# How many files the whole system has open, of how many: run once an interval.
#
#   {module: "open_files", plugin_mode: "sample"}
#
# Writes open_files.used and open_files.limit.

set -e
# Not by `read`: some shells read byte by byte, which files below /proc/sys do not bear.
numbers=$(cat /proc/sys/fs/file-nr)
# shellcheck disable=SC2086 # three words are wanted
set -- $numbers
printf '{"metric": "open_files.used", "value": %s}\n' "$1"
# The limit may be larger than a 64-bit number: its digits are kept as they are.
printf '{"metric": "open_files.limit", "value": {"number": "%s"}}\n' "$3"
