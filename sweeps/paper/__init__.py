"""Tables and figures of the paper: what each needs, and what a home has of it already."""
