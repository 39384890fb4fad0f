"""A stack on this machine: servers, work pools and workers in the background."""
