"""From trials to tables and figures: `load` (a tidy table), `plane` (its numbers), `heatmap`
(draws), `report` (files).

Knows neither torch nor ray. Importing any of it is cheap: pandas, matplotlib and MLflow are loaded
when first used.
"""
