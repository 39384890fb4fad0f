"""Faults of the machine, the servers and the network, made for real while runs go on, and what must hold after each."""
