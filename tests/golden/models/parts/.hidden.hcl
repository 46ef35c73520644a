not { read
