"""What an admin needs when the machine does not boot any more: a script and a program that need no installation."""
