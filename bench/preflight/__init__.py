"""What is asked of a host before anything is installed or stopped there."""
