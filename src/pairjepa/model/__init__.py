"""What learns: projections, predictors, and the model that joins them."""
