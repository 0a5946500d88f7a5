"""Copies of results where users keep things: folders of their file storage (workspaces), collections of their own."""
