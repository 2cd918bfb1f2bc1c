"""What each file of a run holds: fields alone, nothing is read or written here.

Every JSON file carries `schema_version`. A figure that could not be taken is null, never 0. `docs/records.md` and
`docs/schema/` are made from these models.
"""
