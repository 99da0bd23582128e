"""The gateway's test kit: a sample plugin, and every port in the test's hands."""
