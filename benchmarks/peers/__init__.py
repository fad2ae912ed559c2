"""Five of the rules in other stream processors, beside parcelwatch. See README.md beside this file."""
