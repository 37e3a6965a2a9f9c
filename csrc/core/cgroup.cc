// /proc/self/cgroup says in which group a process is, a path from the root of the hierarchy; /proc/self/mountinfo says
// where that hierarchy is mounted, and which of its groups is the root of the mount: in a container often the
// container's own. The quota stands in cpu.max (version 2: "50000 100000" or "max 100000") or in cpu.cfs_quota_us and
// cpu.cfs_period_us (version 1; quota -1: none).
#include "core/cgroup.h"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace nm {
namespace {

/** A comma-separated list has this word. */
bool lists(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

double first_number(const std::string& file) {
  std::ifstream in(file);
  double x = 0;
  return in >> x ? x : 0;
}

/** CPUs of one group, 0 without a limit. */
double quota(const std::string& folder, bool version2) {
  double allowed = 0, period = 0;
  if (version2) {
    std::ifstream in(folder + "/cpu.max");
    if (!(in >> allowed >> period)) return 0;  // "max" is no number
  } else {
    allowed = first_number(folder + "/cpu.cfs_quota_us");
    period = first_number(folder + "/cpu.cfs_period_us");
  }
  return allowed > 0 && period > 0 ? allowed / period : 0;
}

/** The path of this process's group in the hierarchy of the cpu controller; "" when it is in none. */
std::string group_of(const std::string& root, bool version2) {
  std::ifstream in(root + "/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (version2 ? controllers.empty() : lists(controllers, "cpu")) return line.substr(second + 1);
  }
  return "";
}

struct Mount {
  std::string group, folder;  // the group that is the root of the mount, and where it is mounted; "" = not mounted
};

Mount mount_of(const std::string& root, bool version2) {
  std::ifstream in(root + "/proc/self/mountinfo");
  for (std::string line;
       std::getline(in, line);) {  // id parent device ROOT FOLDER options [tags] - TYPE source OPTIONS
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream left(line.substr(0, dash)), right(line.substr(dash + 3));
    std::string id, parent, device, type, source, options;
    Mount m;
    left >> id >> parent >> device >> m.group >> m.folder;
    right >> type >> source >> options;
    if (version2 ? type == "cgroup2" : type == "cgroup" && lists(options, "cpu")) return m;
  }
  return {};
}

double least_quota(const std::string& root, bool version2) {
  const Mount mount = mount_of(root, version2);
  std::string group = group_of(root, version2);
  if (mount.folder.empty() || group.empty()) return 0;
  // What lies above the root of the mount cannot be seen from here, nor a group beside it.
  if (mount.group != "/") {
    const bool inside = group == mount.group || group.compare(0, mount.group.size() + 1, mount.group + "/") == 0;
    group = inside ? group.substr(mount.group.size()) : "";
  }
  double least = 0;
  for (;;) {
    if (group == "/") group.clear();
    const double here = quota(root + mount.folder + group, version2);
    if (here > 0) least = least > 0 ? std::min(least, here) : here;
    if (group.empty()) return least;
    group.erase(group.find_last_of('/'));
  }
}

}  // namespace

double cgroup_cpus(const std::string& root) {
  const double one = least_quota(root, false), two = least_quota(root, true);
  return one > 0 && two > 0 ? std::min(one, two) : std::max(one, two);
}

}  // namespace nm
