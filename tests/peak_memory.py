"""The most memory that a process of its own held: code for its last line.

VmHWM begins anew with the program; ru_maxrss would begin with the size of the process that started it.
"""

PRINT_PEAK_BYTES = """
status = open("/proc/self/status").read()
print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""
