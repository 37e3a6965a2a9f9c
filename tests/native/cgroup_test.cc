// CPU quotas of cgroups, read from made-up trees that look as Docker, Kubernetes and systemd make them.
#include "core/cgroup.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/cpu_probe.h"
#include "harness.h"

namespace {

namespace fs = std::filesystem;

/** A folder that stands for /, gone with its scope. */
class Tree {
 public:
  Tree() {
    std::string name = (fs::temp_directory_path() / "cgroup_testXXXXXX").string();
    NM_CHECK(mkdtemp(name.data()) != nullptr);
    root_ = name;
  }
  ~Tree() { fs::remove_all(root_); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void write(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

const char* kMounts2 =
    "22 1 0:20 / /proc rw,nosuid - proc proc rw\n"
    "31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

void check_cpus(const char* what, const Tree& tree, double want) {
  const double got = nm::cgroup_cpus(tree.root());
  NM_CHECK_MSG(got == want, "%s: got %g CPUs, expected %g", what, got, want);
}

}  // namespace

NM_TEST(version_2_takes_the_least_quota_on_the_way_up) {
  const Tree tree;
  tree.write("/proc/self/cgroup", "0::/user.slice/app.scope\n");
  tree.write("/proc/self/mountinfo", kMounts2);
  check_cpus("no files", tree, 0);
  tree.write("/sys/fs/cgroup/user.slice/app.scope/cpu.max", "max 100000\n");
  check_cpus("max", tree, 0);
  tree.write("/sys/fs/cgroup/user.slice/cpu.max", "350000 100000\n");
  check_cpus("of the slice", tree, 3.5);
  tree.write("/sys/fs/cgroup/user.slice/app.scope/cpu.max", "25000 50000\n");
  check_cpus("of the scope", tree, 0.5);
  tree.write("/sys/fs/cgroup/user.slice/app.scope/cpu.max", "400000 100000\n");
  check_cpus("of the slice again", tree, 3.5);
}

NM_TEST(version_2_in_a_container_reads_the_root_of_its_own_namespace) {
  const Tree tree;
  tree.write("/proc/self/cgroup", "0::/\n");
  tree.write("/proc/self/mountinfo", kMounts2);
  tree.write("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  check_cpus("container", tree, 1.5);
}

NM_TEST(version_1_reads_the_hierarchy_of_the_cpu_controller) {
  const Tree tree;
  tree.write("/proc/self/cgroup", "5:cpuset:/other\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n");
  // The container's own group is the root of the mount.
  tree.write("/proc/self/mountinfo",
             "40 30 0:28 /docker/abc /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n"
             "41 30 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct\n");
  tree.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  tree.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  check_cpus("no quota", tree, 0);
  tree.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  check_cpus("two", tree, 2);
  // A group below that of the container, made by the process itself.
  tree.write("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc/inner\n");
  tree.write("/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us", "30000\n");
  tree.write("/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us", "20000\n");
  check_cpus("inner", tree, 1.5);
  // A group whose name only begins alike is not below it: what is mounted counts.
  tree.write("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abcd\n");
  check_cpus("beside", tree, 2);
}

NM_TEST(both_versions_at_once_and_files_of_nonsense) {
  const Tree tree;
  tree.write("/proc/self/cgroup", "4:cpu:/a\n0::/b\nnonsense\n");
  tree.write("/proc/self/mountinfo",
             std::string(kMounts2) + "nonsense\n41 30 0:29 / /mnt/cpu rw - cgroup cgroup rw,cpu\n");
  tree.write("/mnt/cpu/a/cpu.cfs_quota_us", "300000");
  tree.write("/mnt/cpu/a/cpu.cfs_period_us", "100000");
  check_cpus("version 1 of both", tree, 3);
  tree.write("/sys/fs/cgroup/b/cpu.max", "200000 100000");
  check_cpus("the least of both", tree, 2);
  tree.write("/sys/fs/cgroup/b/cpu.max", "");
  tree.write("/mnt/cpu/a/cpu.cfs_period_us", "0");
  check_cpus("nonsense is no limit", tree, 0);
  check_cpus("nor is an empty tree", Tree(), 0);
}

NM_TEST(threads_are_the_quota_rounded_up_and_at_most_the_cores) {
  NM_CHECK(nm::usable_cores(8, 0) == 8);
  NM_CHECK(nm::usable_cores(8, 0.2) == 1);
  NM_CHECK(nm::usable_cores(8, 2) == 2);
  NM_CHECK(nm::usable_cores(8, 2.1) == 3);
  NM_CHECK(nm::usable_cores(8, 64) == 8);
  nm_cpu_info cpu = nmtest::args<nm_cpu_info>();
  NM_OK_CALL(nm_cpu_query(&cpu));
  NM_CHECK(cpu.logical_cores == nm::usable_cores(cpu.affinity_cores, nm::cgroup_cpus("")));
}
