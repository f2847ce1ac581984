"""Others' data as attach events: what `throng import` does."""
