"""Several workers for one search: each holds an engine, one driver holds policy, referee and record.

``WorkersEngine`` stands in front of any engine and has strategies evaluated by a crew: processes of this machine, or
actors of Ray. Evaluations come back in the order in which they were asked for, whoever was first, so that a search is
the same every time; a worker that dies or hangs costs nothing but time.
"""
