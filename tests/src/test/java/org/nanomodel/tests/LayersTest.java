package org.nanomodel.tests;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The arrows of docs/architecture.md: each layer knows only those below it. */
@AnalyzeClasses(packages = "org.nanomodel", importOptions = ImportOption.DoNotIncludeTests.class)
class LayersTest {
  private static final String ROOT = "org.nanomodel";

  @ArchTest
  static final ArchRule layersPointDownwards =
      layeredArchitecture()
          .consideringOnlyDependenciesInLayers()
          .layer("cli")
          .definedBy(ROOT + ".cli..")
          .layer("jobs")
          .definedBy(ROOT + ".quantize..", ROOT + ".evaluate..", ROOT + ".generate..")
          .layer("model")
          .definedBy(ROOT + ".model..")
          .layer("files")
          .definedBy(
              ROOT + ".checkpoint..", ROOT + ".tokenizer..", ROOT + ".data..", ROOT + ".chat..")
          .layer("ops")
          .definedBy(ROOT + ".ops..", ROOT + ".tensor..")
          .layer("ffi")
          .definedBy(ROOT + ".ffi..")
          .layer("json")
          .definedBy(ROOT + ".json..")
          .whereLayer("cli")
          .mayNotBeAccessedByAnyLayer()
          .whereLayer("jobs")
          .mayOnlyBeAccessedByLayers("cli")
          .whereLayer("files")
          .mayOnlyBeAccessedByLayers("cli", "jobs")
          .whereLayer("model")
          .mayOnlyBeAccessedByLayers("cli", "jobs", "files")
          .whereLayer("ops")
          .mayOnlyBeAccessedByLayers("cli", "jobs", "model", "files")
          .whereLayer("ffi")
          .mayOnlyBeAccessedByLayers("ops", "files")
          .whereLayer("json")
          .mayOnlyBeAccessedByLayers("cli", "jobs", "model", "files");

  @ArchTest
  static final ArchRule onlyFfiTouchesTheGeneratedBindings =
      noClasses()
          .that()
          .resideOutsideOfPackages(ROOT + ".ffi..", ROOT + ".ops..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage(ROOT + ".ffi.generated..");

  /** So that the metadata of native-image, which is derived from that package, has all of them. */
  @ArchTest
  static final ArchRule onlyFfiDescribesForeignFunctions =
      noClasses()
          .that()
          .resideOutsideOfPackage(ROOT + ".ffi..")
          .should()
          .dependOnClassesThat()
          .haveFullyQualifiedName("java.lang.foreign.FunctionDescriptor");

  @ArchTest
  static final ArchRule safetensorsStandsAlone =
      noClasses()
          .that()
          .resideInAPackage(ROOT + ".safetensors..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              ROOT,
              ROOT + ".ffi..",
              ROOT + ".tensor..",
              ROOT + ".ops..",
              ROOT + ".model..",
              ROOT + ".checkpoint..",
              ROOT + ".quantize..");

  @ArchTest
  static final ArchRule theLibraryPrintsNothing =
      noClasses()
          .that()
          .resideOutsideOfPackages(ROOT + ".cli..", ROOT + ".ffi.generated..")
          .should()
          .accessField(System.class, "out")
          .orShould()
          .accessField(System.class, "err");
}
