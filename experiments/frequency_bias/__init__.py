"""Fast workers pull asynchronous SGD towards their own data; four methods that correct it."""
