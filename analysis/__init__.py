"""From trials to tables and figures: `load` (a tidy table), `plane` (its numbers), `heatmap`
(draws), `report` (files).

Imports neither torch nor ray. Importing any of it is cheap, since pandas, matplotlib and MLflow are
imported on first use.
"""
