"""Others' data as attach events: what `throng import` does.

    files --> read rows --> draft (who, when, where, what) --> cell --> sort by time --> attach events

Each step hands on what it can and says of the rest in which row it stands and why it can't be used.
"""
