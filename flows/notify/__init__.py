"""Notifications of failed runs, broken gates, dead runs and figures that got worse, by automations of Prefect."""
