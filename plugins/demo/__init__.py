"""The demonstration data of Hyderabad: no plugin, only data and its loader."""
