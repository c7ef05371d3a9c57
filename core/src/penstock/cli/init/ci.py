PLATFORMS = {"github": 1, "gitlab": 2, "gitea": 3}


def write(root, platform):
    return 0
