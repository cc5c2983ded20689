"""Two schedules of one fleet, drawn."""
