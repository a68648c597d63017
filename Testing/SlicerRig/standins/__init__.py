"""Stand-ins for the parts of 3D Slicer that no package provides: its Qt layer and the application around it.

The Qt layer is installed with ::

    from standins import qt_layer
    qt_layer.install()              # needs `import slicer` (slicer-core) and PySide6-Essentials

which puts ``qt`` and ``ctk`` into ``sys.modules`` and the ``qMRML*`` / ``qSlicer*`` widget classes into ``slicer``. It returns
nothing, may be called again, needs neither a display nor a main window, and makes no QApplication
(``qt_layer.application()`` does, where the application side has made none).

    qt_layer.py       the entry point: install(), application(), fresh_settings(), collect_slot_errors()
    pythonqt.py       how Python reaches a C++ object in Slicer: properties are attributes, unknown names raise
    class_info.py     properties and signals of each Qt class
    signals.py        connect and disconnect, by signature text and by attribute
    qt_module.py      the strict modules ``qt`` and ``ctk``, and the few Qt calls that answer differently in PythonQt
    stand_in.py       what a stand-in class is: the decorator, stored properties
    ctk_widgets.py    ctkCollapsibleButton, ctkPathLineEdit, ctkColorPickerButton, ctkMessageBox, ...
    mrml_widgets.py   qMRMLWidget, qSlicerWidget, qMRMLTableView
    node_combo_box.py qMRMLNodeComboBox, on a real scene
    segment_widgets.py qMRMLSegmentsTableView, qMRMLSegmentationShow3DButton, on a real segmentation node
    ui_loader.py      qt.QUiLoader: unknown classes, properties, slots and connections raise
    surface.py        which names Python can reach in Slicer (python_surface.json.xz); unlisted_names(stand-in class)
    source_check.py   unknown_names(sources, ui_files): what PythonQt would refuse, found without running it

Where real PythonQt only prints a warning (connecting an unknown signal), these stand-ins raise: nobody reads the print.
"""

import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.pyside6_option_python_enum = 0x02  # enumerators as IntEnum and IntFlag; read when PySide6 is first imported
