"""Runs of schedules over months: their figures side by side, what got worse, and what is kept of them."""
