// CPU time that Linux grants to a group of processes, such as a container.
#pragma once

#include <string>

namespace nm {

/**
 * CPUs' worth of time that this process may use: the least of the quotas of its cgroup and of those above it; 0 without
 * a limit. Versions 1 and 2, mounted wherever /proc/self/mountinfo says. `root` goes before every path ("" but in tests).
 */
double cgroup_cpus(const std::string& root);

}  // namespace nm
