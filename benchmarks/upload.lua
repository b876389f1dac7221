-- A body of 1 MiB, the same in each request.
wrk.method = "POST"
wrk.body = string.rep("x", 1048576)
