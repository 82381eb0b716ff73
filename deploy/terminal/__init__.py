"""What the command line asks and shows, apart from the commands themselves."""
