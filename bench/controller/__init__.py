"""What happens on the controller: finding and preparing a run, sending jobs to hosts, driving phases."""
