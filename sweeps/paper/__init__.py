"""Tables and figures of the paper: what each needs, and how much of it a home already has."""
