module dedicated.dev/traffic

go 1.26
