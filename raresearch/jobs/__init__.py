"""A study as a job of a Ray cluster, through Ray's job API.

Belongs here: what of a folder is sent (`bundle`), which versions must agree (`pins`), talking to the cluster (`client`).
Does not belong here: running a study (`api`).
"""
