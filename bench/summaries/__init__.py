"""The distribution of a figure: medians, spreads and their intervals. Pure; every room that judges values asks here."""
